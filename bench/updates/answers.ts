import { startConsul } from "@rollcall/testing/servers";

/** What is looked at here of a record of `/v1/health/service/…`; the rest is passed on as Consul wrote it. */
export interface HealthRecord {
  readonly Node: { readonly ID: string; readonly Node: string; readonly Address: string };
  readonly Service: { readonly ID: string; readonly Address: string; readonly Port: number };
  readonly Checks: readonly { readonly Node: string; readonly ServiceID: string; readonly Output: string }[];
}

/** One record as a real Consul writes it, of a service with tags, metadata and two checks. */
export async function realRecord(): Promise<HealthRecord> {
  await using consul = await startConsul({ keepData: false });
  const put = (path: string, body?: unknown): Promise<Response> =>
    fetch(`${consul.url}/v1/agent/${path}`, { method: "PUT", body: body === undefined ? null : JSON.stringify(body) });
  await put("service/register", {
    ID: "lorem-0",
    Name: "lorem",
    Address: "10.0.0.0",
    Port: 8_080,
    Tags: ["ru-rocker", "v2"],
    Meta: { zone: "eu-1a", version: "1.42.0" },
    Check: { CheckID: "lorem-0", TTL: "600s", Status: "passing" },
  });
  await put("check/update/lorem-0", { Status: "passing", Output: "200 OK: 12 requests in flight" });
  const answer = await fetch(`${consul.url}/v1/health/service/lorem`);
  const [record] = (await answer.json()) as readonly [HealthRecord];
  await fetch(`${consul.url}/v1/agent/service/deregister/lorem-0`, { method: "PUT" });
  return record;
}

/** So many records like this one, each of another instance on another node. */
export function multiply(record: HealthRecord, count: number): readonly HealthRecord[] {
  return Array.from({ length: count }, (_, n) => {
    const node = `worker-${String((n * 7_919) % count).padStart(6, "0")}`;
    const host = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
    const id = `lorem-${n}`;
    return {
      ...record,
      Node: {
        ...record.Node,
        ID: record.Node.ID.replace(/^.{8}/, n.toString(16).padStart(8, "0")),
        Node: node,
        Address: host,
      },
      Service: { ...record.Service, ID: id, Address: host },
      Checks: record.Checks.map((check) => ({ ...check, Node: node, ServiceID: check.ServiceID && id })),
    };
  });
}

/** The body of an answer. */
export function bodyOf(records: readonly HealthRecord[]): Buffer {
  return Buffer.from(JSON.stringify(records));
}

/** The same records, of which every so many-th is at another port. */
export function moved(records: readonly HealthRecord[], isMoved: (index: number) => boolean): readonly HealthRecord[] {
  return records.map((record, index) =>
    isMoved(index) ? { ...record, Service: { ...record.Service, Port: record.Service.Port + 1 } } : record,
  );
}

/** The same records, of which some have a check that says something else: for a client nothing has changed. */
export function checked(
  records: readonly HealthRecord[],
  isOther: (index: number) => boolean,
): readonly HealthRecord[] {
  return records.map((record, index) =>
    isOther(index)
      ? { ...record, Checks: record.Checks.map((check) => ({ ...check, Output: `${check.Output}!` })) }
      : record,
  );
}
