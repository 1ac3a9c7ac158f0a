import * as http from "node:http";
import * as https from "node:https";
import { Socket } from "node:net";

/**
 * Makes an agent whose sockets keep no process alive, neither waiting for an answer nor idle: a poll is always under way,
 * and a process that has nothing else to do shall end although it never closed its registry. Whoever awaits an answer
 * keeps the process alive otherwise.
 */
export function backgroundAgent(options: https.AgentOptions & { readonly secure: boolean }): http.Agent {
  const { secure, ...rest } = options;
  const agent = secure ? new https.Agent(rest) : new http.Agent(rest);
  const { createConnection, reuseSocket } = agent;
  agent.createConnection = (...given) => {
    const socket = createConnection.apply(agent, given);
    unreference(socket);
    return socket;
  };
  agent.reuseSocket = (socket, request) => {
    reuseSocket.call(agent, socket, request); // references it again
    unreference(socket);
  };
  return agent;
}

function unreference(socket: unknown): void {
  if (socket instanceof Socket) socket.unref();
}
