import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";

/** Puts the parts between the markers of this name in a file (`<!-- name:begin -->`), in the place of what was there. */
export async function writeBetween(file: URL, name: string, ...parts: readonly string[]): Promise<void> {
  const filepath = fileURLToPath(file);
  const text = between(await readFile(file, "utf8"), name, parts.join("\n\n"));
  await writeFile(file, await format(text, { ...(await resolveConfig(filepath)), filepath }));
}

/** @throws Error if the text lacks the markers. */
function between(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the text has no place between ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}
