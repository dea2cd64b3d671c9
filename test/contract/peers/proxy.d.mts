export interface StartedProxy {
  readonly port: number;
  readonly asked: { target: string; login: string | null }[];
  readonly clients: ReadonlySet<import("node:net").Socket>;
}
export function startProxy(options: import("../kit.ts").ProxyOptions): Promise<StartedProxy>;
