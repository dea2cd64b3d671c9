import { createTarGzip } from "nanotar";

/** A file of the archive of `ngrokd support`. */
export interface Entry {
  readonly name: string;
  /** What is in it, for people. */
  readonly about: string;
  readonly text: string;
}

/**
 * Pure: a function that takes secrets out of a text: those given, and all that
 * looks like a key of ngrok or a private key.
 */
export function redactor(secrets: readonly string[]): (text: string) => string {
  // The longest first, since a secret may be a part of another one.
  const known = [...new Set(secrets)]
    .filter((secret) => secret.length >= shortestSecret)
    .sort((a, b) => b.length - a.length);
  return (text) => {
    let safe = text;
    for (const secret of known)
      for (const spelled of [secret, encodeURIComponent(secret), jsonInside(secret)])
        safe = safe.replaceAll(spelled, redacted);
    return safe.replaceAll(looksLikeKey, redacted).replaceAll(privateKey, redacted);
  };
}

const redacted = "[redacted]";
/** A shorter one would cut words of the texts. */
const shortestSecret = 4;
/** As in 2abcDEF…_5ghiJKL…: two long parts of letters and digits. */
const looksLikeKey = /\b[0-9A-Za-z]{20,}_[0-9A-Za-z]{15,}\b/g;
const privateKey = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*-----|$)/g;

const jsonInside = (text: string): string => JSON.stringify(text).slice(1, -1);

/** The archive, with a list of its files first. All its files are 0600. */
export async function archiveOf(entries: readonly Entry[], folder: string): Promise<Uint8Array> {
  const contents = entries.map(({ name, about }) => `${name}  ${about}\n`).join("");
  const files = [{ name: "CONTENTS.txt", text: contents }, ...entries];
  return await createTarGzip(
    files.map(({ name, text }) => ({ name: `${folder}/${name}`, data: text })),
    { attrs: { mode: "600", uid: 0, gid: 0 } },
  );
}
