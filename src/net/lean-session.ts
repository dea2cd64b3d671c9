/**
 * A TLS session without the server's certificates. Each connection that resumes
 * a session keeps its own copy of them, parsed: some 5 KiB for two short ones.
 */

/**
 * Returns the session itself if it has another form than BoringSSL's: a DER
 * sequence with the server's certificate in the field [3], and those above it
 * in the field [19] (SSL_SESSION in BoringSSL's ssl/ssl_asn1.cc).
 */
export async function leanSession(session: Uint8Array): Promise<Uint8Array> {
  const { fromBER, Sequence } = await import("asn1js");
  const { result } = fromBER(session);
  if (!(result instanceof Sequence)) return session;
  const { valueBlock } = result;
  valueBlock.value = valueBlock.value.filter(
    ({ idBlock: { tagClass, tagNumber } }) =>
      tagClass !== contextSpecific || !certificateFields.includes(tagNumber),
  );
  return new Uint8Array(result.toBER());
}

const contextSpecific = 3;
const certificateFields = [3, 19];
