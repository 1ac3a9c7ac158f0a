// What one update leaves on the heap before anything is collected: `heap.ts <file of the first answer> <file of the
// second> <ours | parsed>`. A process of its own, whose young generation is so large that nothing is collected meanwhile.
import { readFileSync } from "node:fs";
import { followedService, inChunks } from "./followed-service.ts";

const [first = "", second = "", what] = process.argv.slice(2);
const bodies = [readFileSync(first), readFileSync(second)] as const;
const service = await followedService();
let kept: unknown;
const update = async (turn: number): Promise<void> => {
  const body = bodies[turn % 2] as Buffer;
  if (what === "ours") await service.answer(inChunks(body));
  else kept = JSON.parse(body.toString());
};

for (let turn = 0; turn < 10; turn++) await update(turn);
globalThis.gc?.();
globalThis.gc?.();
const before = process.memoryUsage();
await update(0);
const after = process.memoryUsage();
process.on("disconnect", () => process.exit());
process.send?.({
  heap: after.heapUsed - before.heapUsed,
  buffers: after.arrayBuffers - before.arrayBuffers,
  kept: kept !== undefined,
});
