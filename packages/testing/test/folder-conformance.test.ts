import { mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInstance } from "@rollcall/core";
import { countedEnv, describeBackend, type RecordName } from "@rollcall/testing/conformance";
import { afterAll, describe, expect, it } from "vitest";
import { folderRegistry } from "./folder-registry.ts";

const root = await mkdtemp(join(tmpdir(), "folder-registry-"));
const [folder, away] = [join(root, "records"), join(root, "away")];
await mkdir(folder);
afterAll(() => rm(root, { recursive: true }));

const ttlMs = 2_500;
const { env, timers } = countedEnv();
const options = { folder, ttlMs, env };
const fileOf = ({ service, id }: RecordName): string => join(folder, service, `${id}.json`);
let seeds = 0;

describeBackend(
  {
    name: "a folder",
    settleMs: 500,
    expireMs: ttlMs + 500,
    options,
    open: () => folderRegistry(options),
    openRefused: () => folderRegistry({ ...options, folder: "/dev/null" }),
    async seed(records) {
      for (const record of records) {
        const file = fileOf({ ...record, id: `seed-${++seeds}` });
        await mkdir(join(file, ".."), { recursive: true });
        await writeFile(file, JSON.stringify(createInstance(record)));
        await utimes(file, new Date(), new Date(Date.now() + 60_000));
      }
    },
    faults: {
      kill: () => rename(folder, away),
      start: () => rename(away, folder).catch(() => undefined),
      hang: "no: a local disk does not hang",
      async wipe() {
        for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
      },
      loseWatch: "no: it looks at everything each time, so there is no place to lose",
      forget: { "somebody deleted its file": (record) => rm(fileOf(record)) },
    },
    handles: timers,
    capabilities: {
      remembersAfterRestart:
        "no: a record that could not be renewed for 2.5 s has run out, and an outage may be longer",
      holdsDuplicates: true,
    },
  },
  { describe, it },
);

describe("the guide for authors of backends", () => {
  it("shows this very backend and this very harness", async () => {
    const guide = await readFile(new URL("../../../docs/writing-a-backend.md", import.meta.url), "utf8");
    const backend = await readFile(new URL("folder-registry.ts", import.meta.url), "utf8");
    expect(guide).toContain(`\`\`\`ts\n${backend}\`\`\``);
  });
});
