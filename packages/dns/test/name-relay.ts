import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { decode } from "dns-packet";

/** A way to a name server that counts what is asked, and spoils what is answered. */
export interface NameRelay {
  /** `127.0.0.1:15353`, for datagrams; connections go through `tcp`. */
  readonly address: string;
  readonly tcp: TcpProxy;
  /** What was asked by datagrams: `SRV lorem.rollcall.test`. */
  readonly asked: readonly string[];
  /** Makes of each answer what is sent instead of it, one after the other. Undefined: as it came. */
  spoil: ((answer: Buffer) => readonly Buffer[]) | undefined;
  close(): Promise<void>;
}

export async function nameRelay(target: { readonly host: string; readonly port: number }): Promise<NameRelay> {
  const { host, port } = target;
  const tcp = await tcpProxy({ target: { host, port } });
  const asked: string[] = [];
  const front = createSocket("udp4");
  const behind = new Set<Socket>();
  front.bind(tcp.port, "127.0.0.1");
  await once(front, "listening");

  const relay: NameRelay = {
    address: `127.0.0.1:${tcp.port}`,
    tcp,
    asked,
    spoil: undefined,
    async close() {
      for (const socket of behind) socket.close();
      front.close();
      await tcp.close();
    },
  };
  front.on("message", (message, from) => {
    const [question] = decode(message).questions ?? [];
    asked.push(`${question?.type} ${question?.name}`);
    const socket = createSocket("udp4");
    behind.add(socket);
    const end = (): void => {
      if (behind.delete(socket)) socket.close();
    };
    socket.on("message", (answer) => {
      end();
      for (const each of relay.spoil?.(answer) ?? [answer]) front.send(each, from.port, from.address);
    });
    // Nobody listens there: then nobody answers here.
    socket.on("error", end);
    socket.connect(port, host, () => socket.send(message));
  });
  return relay;
}
