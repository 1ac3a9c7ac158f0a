// The process that plays rows on one backend, one after another: so two backends can be tried at the same time.
import { backendNamed } from "./backends.ts";
import { playRow } from "./play-row.ts";
import type { Result } from "./result.ts";
import { rows } from "./rows.ts";
import { answer } from "./worker.ts";

export type DirectorMethods = {
  play(options: { readonly backend: string; readonly row: string; readonly scale: number }): Promise<Result>;
};

const methods: DirectorMethods = {
  async play({ backend, row: name, scale }) {
    const row = rows.find((each) => each.name === name);
    if (row === undefined) throw new Error(`no row is called "${name}"`);
    return playRow(row, backendNamed(backend), scale);
  },
};

answer(methods);
