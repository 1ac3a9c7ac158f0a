import { readFile, writeFile } from "node:fs/promises";

const FILE = new URL("../../docs/reliability.md", import.meta.url);
const [BEGIN, END] = ["<!-- chaos:begin -->", "<!-- chaos:end -->"];

/** Puts the parts between the markers of docs/reliability.md, in the place of what was there. */
export async function writeTable(...parts: readonly string[]): Promise<void> {
  await writeFile(FILE, between(await readFile(FILE, "utf8"), parts.join("\n\n")));
}

/** @throws Error if the text lacks the markers. */
export function between(text: string, content: string): string {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`the text has no place between ${BEGIN} and ${END}`);
  return `${text.slice(0, from + BEGIN.length)}\n\n${content}\n\n${text.slice(to)}`;
}
