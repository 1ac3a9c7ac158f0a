import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { InvalidOptionError } from "@rollcall/core";
import { serverSkipped, startZookeeper, type TestServer } from "@rollcall/testing/servers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

let zookeeper: TestServer;

const ask = async (word: string): Promise<string> => {
  const socket = connect({ host: zookeeper.host, port: zookeeper.port });
  socket.write(word);
  return text(socket);
};
/** How many transactions it ever knew: opening a session is one. */
const transactions = async (): Promise<number> => Number(/Zxid: (0x[0-9a-f]+)/.exec(await ask("srvr"))?.[1]);

/** A session that is opened, and left alone. */
const openSession = async (): Promise<void> => {
  const socket = connect({ host: zookeeper.host, port: zookeeper.port });
  const request = Buffer.alloc(48);
  request.writeInt32BE(44, 0); // the length of what follows
  request.writeInt32BE(60_000, 16); // the time-out, after a protocol version and a transaction
  request.writeInt32BE(16, 28); // a password, after no session
  socket.write(request);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.destroy();
};

describe.skipIf(serverSkipped("zookeeper"))("a ZooKeeper for tests", () => {
  beforeAll(async () => {
    zookeeper = await startZookeeper({ faults: ["kill", "freeze", "wipe"] });
  });

  afterAll(() => zookeeper?.close());

  it("serves requests as soon as it is there, and has a URL that its clients take", async () => {
    expect(await ask("srvr")).toContain("Mode: standalone");
    expect(zookeeper.url).toBe(`zookeeper://127.0.0.1:${zookeeper.port}`);
  });

  it("has its data again after it was killed, and has forgotten everything after a wipe", async () => {
    await openSession();
    const before = await transactions();
    expect(before).toBeGreaterThan(0);
    await zookeeper.restart({ wipe: false });
    expect(await transactions()).toBeGreaterThanOrEqual(before);
    await zookeeper.restart({ wipe: true });
    expect(await transactions()).toBe(0);
  });

  it("answers nobody while it is frozen", async () => {
    await zookeeper.freeze();
    const answer = ask("srvr");
    const nothing = new Promise((resolve) => setTimeout(resolve, 300, "nothing"));
    expect(await Promise.race([answer, nothing])).toBe("nothing");
    await zookeeper.thaw();
    expect(await answer).toContain("Mode: standalone");
  });

  it("takes no arguments", async () => {
    const options = { args: ["--fast"], port: undefined };
    await expect(startZookeeper(options)).rejects.toThrow(InvalidOptionError);
  });
});
