import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { channels, createInstance, createRegistry, type Env, type Instance, type Registry } from "@rollcall/core";
import { resolveEnv, sleep } from "@rollcall/core";

/** A registry in a shared folder: a file for each instance, whose owner touches it three times per TTL. */
export function folderRegistry(options: { folder: string; ttlMs: number; env?: Partial<Env> }): Registry {
  const { folder, ttlMs } = options;
  const env = resolveEnv(options.env);
  const folderOf = (service: string) => join(folder, encodeURIComponent(service));

  async function read(service: string): Promise<readonly Instance[]> {
    const names = await readdir(folderOf(service)).catch(() => []); // the service is unknown: there are none
    const errors: { record: unknown; error: unknown }[] = [];
    const instances: Instance[] = [];
    for (const name of names.filter((each) => each.endsWith(".json"))) {
      const file = join(folderOf(service), name);
      try {
        if ((await stat(file)).mtimeMs + ttlMs < Date.now()) continue; // its owner is dead
        instances.push(createInstance(JSON.parse(await readFile(file, "utf8"))));
      } catch (error) {
        errors.push({ record: file, error }); // one bad file must not hide the good ones
      }
    }
    await stat(folder); // the registry is down by now: throw, what was read means nothing
    if (errors.length > 0) channels.badRecord.publish({ registry: "folder", service, skipped: errors.length, errors });
    return instances;
  }

  return createRegistry({
    name: "folder",
    env,
    source: ({ service, tags }) => ({
      name: "folder",
      async *watch(signal) {
        for (; !signal.aborted; await sleep(env, 50, signal)) {
          yield (await read(service)).filter((instance) => tags.every((tag) => instance.tags.includes(tag)));
        }
      },
    }),
    sink: () => ({
      name: "folder",
      async register(instance, signal) {
        const file = join(folderOf(instance.service), `${encodeURIComponent(instance.id)}.json`);
        await stat(folder);
        await mkdir(folderOf(instance.service), { recursive: true });
        await writeFile(`${file}.new`, JSON.stringify(instance), { signal });
        await rename(`${file}.new`, file); // nobody reads half a file
        return {
          renewEveryMs: ttlMs / 3,
          renew: () => utimes(file, new Date(), new Date()), // rejects if the file is gone: then core registers anew
          async remove() {
            await stat(folder);
            await rm(file, { force: true }); // gone already is no error
          },
        };
      },
    }),
  });
}
