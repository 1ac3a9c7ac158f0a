import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { on } from "node:events";
import { connect, isIPv6 } from "node:net";
import { type Answer, decodeAnswer, encodeQuestion, keyOf, type Question } from "./client.ts";
import { DnsError } from "./dns-error.ts";

/** Where a name server listens. */
export interface NameServer {
  readonly host: string;
  readonly port: number;
}

/** Asks one name server once. Rejects with a DnsError, or the error of the socket. */
export type Exchange = (server: NameServer, question: Question, signal: AbortSignal) => Promise<Answer>;

/**
 * Makes the function that asks by a datagram, and again by TCP if the answer did not fit into it; or by TCP at once. The
 * sockets are gone when it settles, do not keep the process alive, and end when the signal aborts.
 */
export function exchangeBy(transport: "udp" | "tcp"): Exchange {
  const talk = transport === "udp" ? byDatagram : byStream;

  return async (server, question, signal) => {
    // Whoever wants to forge an answer has to guess the id, and the port that the system has chosen for the socket.
    const id = randomInt(2 ** 16);
    for await (const message of talk(server, encodeQuestion(question, id), signal)) {
      const answer = decodeAnswer(message, question, id);
      if (answer === undefined) continue;
      if (answer.missing === "nothing" || (answer.missing === "addresses" && transport === "tcp")) return answer;
      if (transport === "udp") return exchangeBy("tcp")(server, question, signal);
      throw new DnsError(`even by TCP, the answer to ${keyOf(question)} is cut`);
    }
    throw new DnsError("the connection ended before the answer did");
  };
}

/** Sends a message, and yields all that come back. */
async function* byDatagram({ host, port }: NameServer, message: Buffer, signal: AbortSignal): AsyncGenerator<Buffer> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4").unref();
  // What fails when nobody reads any more is no failure of the process either.
  socket.on("error", () => undefined).once("connect", () => socket.send(message));
  // Connected, so that only this server is heard, and that it is heard of when nobody listens there.
  socket.connect(port, host);
  try {
    for await (const [received] of on(socket, "message", { signal })) yield received as Buffer;
  } finally {
    socket.close();
  }
}

/** Sends a message, and yields the one that comes back. */
async function* byStream(server: NameServer, message: Buffer, signal: AbortSignal): AsyncGenerator<Buffer> {
  const socket = connect({ ...server, signal }).unref();
  // Each message has its length before it.
  socket.write(Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message]));
  let received = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    const length = received.length < 2 ? Infinity : received.readUInt16BE();
    if (received.length < 2 + length) continue;
    yield received.subarray(2, 2 + length);
    break;
  }
}
