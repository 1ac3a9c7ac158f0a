import { describe, expect, it } from "vitest";
import { VirtualTime } from "./virtual-time.ts";

function playOut(time: VirtualTime): void {
  while (time.step());
}

describe("VirtualTime", () => {
  it("lets timers and ways happen in one order: by time, and at one moment as they were planned", () => {
    const time = new VirtualTime();
    const seen: string[] = [];
    const note = (what: string): void => void seen.push(`${time.nowMs} ${what}`);
    const short = time.line<string>(5, note);
    const long = time.line<string>(10, note);
    const { after } = time.env(() => 0);
    long("long");
    short("short");
    after(10, () => note("timer after long"));
    after(5, () => {
      note("timer");
      short("from a timer");
    });
    playOut(time);
    expect(seen).toEqual(["5 short", "5 timer", "10 long", "10 timer after long", "10 from a timer"]);
    expect(time.step()).toBe(false);
  });

  it("keeps the order on a way that is longer than its ring was at first", () => {
    const time = new VirtualTime();
    const seen: number[] = [];
    const way = time.line<number>(3, (item) => {
      seen.push(item);
      if (item < 500) way(item + 1_000);
    });
    for (let item = 0; item < 1_000; item++) way(item);
    playOut(time);
    expect(seen).toHaveLength(1_500);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("forgets timers that are cancelled or never due, and runs those for the past at once", () => {
    const time = new VirtualTime();
    const seen: string[] = [];
    const { after, now } = time.env(() => 0);
    after(Infinity, () => seen.push("never"));
    const cancel = after(1, () => seen.push("cancelled"));
    after(2, () => after(-5, () => seen.push(`past at ${now()}`)));
    cancel();
    cancel();
    playOut(time);
    expect(seen).toEqual(["past at 2"]);
  });
});
