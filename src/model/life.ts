const dayMs = 86_400_000;

/** The rest of a lifetime, as `89 days`, `1 day 3 h` or `50 s`. */
export function lifeText(ms: number): string {
  const days = Math.floor(ms / dayMs);
  if (days >= 2) return `${days} days`;
  const hours = Math.floor((ms % dayMs) / 3_600_000);
  if (days === 1) return hours === 0 ? "1 day" : `1 day ${hours} h`;
  if (ms >= 3_600_000) return `${hours} h`;
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)} min`;
  return ms > 0 && ms < 1000 ? "less than a second" : `${Math.max(0, Math.floor(ms / 1000))} s`;
}
