import type { Family, Sample } from "../observe/exposition.ts";
import type { MetricFacts } from "./daemon-facts.ts";
import { metricFamilies } from "./metrics.ts";

/** The metrics that are not of one profile. */
const shared: ReadonlySet<string> = new Set([
  "ngrokd_up",
  "ngrokd_ready",
  "ngrokd_build_info",
  "ngrokd_dns_questions_total",
  "ngrokd_dns_refused_total",
  "ngrokd_connections_limit",
  "ngrokd_sockets_turned_away_total",
  "ngrokd_unknown_host_errors_total",
]);

/**
 * Pure: the metrics of /metrics. If there are several profiles, each sample
 * that is of one has the label `profile`.
 */
export function familiesOfProfiles(
  whole: MetricFacts,
  profiles: readonly { readonly name: string; readonly facts: MetricFacts }[],
): Family[] {
  if (profiles.length < 2) return metricFamilies(whole);
  const all = metricFamilies(whole).filter(({ name }) => shared.has(name));
  const ofProfiles = new Map<string, Family[]>();
  for (const { name: profile, facts } of profiles) {
    for (const family of metricFamilies(facts)) {
      if (shared.has(family.name)) continue;
      const families = ofProfiles.get(family.name) ?? [];
      ofProfiles.set(family.name, [...families, labelled(family, profile)]);
    }
  }
  return [...all, ...[...ofProfiles.values()].flatMap(joined)];
}

const labelled = (family: Family, profile: string): Family => ({
  ...family,
  *samples(): Iterable<Sample> {
    for (const { labels, value } of family.samples())
      yield { labels: { profile, ...labels }, value };
  },
});

/** One family with the samples of all. */
function joined(families: readonly Family[]): Family[] {
  const [first] = families;
  if (first === undefined) return [];
  return [
    {
      ...first,
      *samples(): Iterable<Sample> {
        for (const { samples } of families) yield* samples();
      },
    },
  ];
}
