import { access, constants, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join, resolve } from "node:path";

/** Looks up a name on a search path, or a path (one with a slash) by itself. */
export async function findExecutable(nameOrPath: string, searchPath: string): Promise<string | undefined> {
  const isPath = isAbsolute(nameOrPath) || /[\\/]/.test(nameOrPath);
  const names = process.platform === "win32" && !/\.exe$/i.test(nameOrPath) ? [`${nameOrPath}.exe`] : [nameOrPath];
  const folders = isPath ? [""] : searchPath.split(delimiter).filter((folder) => folder !== "");
  for (const folder of folders) {
    for (const name of names) {
      const candidate = isPath ? resolve(name) : join(folder, name);
      if (await isExecutable(candidate)) return candidate;
    }
  }
  return undefined;
}

/** Whether it is a file that we may run; a folder of that name is not. */
export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
