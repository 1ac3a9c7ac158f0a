// Three ports that answer every GET with the same bytes, in a process of its own, as quickly as it can be done: what is
// measured is who calls. Says its ports to its parent.
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

const ORIGINS = 3;
const BODY = "x".repeat(128);
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\nKeep-Alive: timeout=60\r\n\r\n${BODY}`,
);
const END = Buffer.from("\r\n\r\n");

const ports: number[] = [];
for (let origin = 0; origin < ORIGINS; origin++) {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("data", (chunk) => {
      // One request a chunk is what comes; more of them are answered all the same.
      for (let at = chunk.indexOf(END); at >= 0; at = chunk.indexOf(END, at + END.length)) socket.write(ANSWER);
    });
    socket.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ports.push((server.address() as AddressInfo).port);
}
process.on("disconnect", () => process.exit());
process.send?.(ports);
