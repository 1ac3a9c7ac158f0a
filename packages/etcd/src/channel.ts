import { AsyncLocalStorage } from "node:async_hooks";
import diagnosticsChannel from "node:diagnostics_channel";
import type { Socket } from "node:net";
import {
  type CallCredentials,
  Channel,
  ChannelCredentials,
  type ChannelOptions,
  connectivityState,
  credentials,
} from "@grpc/grpc-js";
import { EtcdError } from "./etcd-error.ts";

/** How an `https://` host is connected to; each means what it means in `node:tls`. */
export interface EtcdTlsOptions {
  /** Whom to trust, as PEM. Default: the authorities that Node knows. */
  readonly ca?: string | Buffer | undefined;
  /** The client's own certificate and its key, as PEM. */
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  /** The name that the host's certificate must be for, if it is not the host's own. */
  readonly servername?: string | undefined;
  /** Default true. */
  readonly rejectUnauthorized?: boolean | undefined;
}

/** One gRPC channel to one host. */
export interface EtcdChannel {
  readonly channel: Channel;
  /** Resolves when the connection, once made, is gone. The channel would make another one; its owner had better not. */
  readonly lost: Promise<void>;
  /** Ends every call on it, and its sockets, at once; resolves when they are closed. */
  destroy(): Promise<void>;
}

const OPTIONS: ChannelOptions = {
  // A connection that is silently dead says nothing; etcd tolerates pings that are 5 s apart or more.
  "grpc.keepalive_time_ms": 10_000,
  // A slow network must not look like a dead one.
  "grpc.keepalive_timeout_ms": 5_000,
  // etcd does not tolerate them on an idle connection.
  "grpc.keepalive_permit_without_calls": 0,
  // A channel must not inherit the connection, or the back-off, of one that was thrown away.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  // No DNS request for a configuration that nobody publishes.
  "grpc.service_config_disable_resolution": 1,
  // 4 MB by default, which is about 10,000 instances.
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
};

/** Whose connection is being made. */
const connecting = new AsyncLocalStorage<SocketKeeper>();

/**
 * Opens a gRPC channel, which connects at once, whose sockets never keep the process alive, and end when they are told
 * to. gRPC gives its users no hold on either: a stream that waits for events would keep a process running for ever, a
 * closed channel leaves its socket to a peer that may never answer, and one that is still connecting to a host that
 * drops packets stays for minutes. So each socket is caught where Node tells of new ones.
 *
 * @param host `name:port`.
 */
export function openChannel(host: string, tls: EtcdTlsOptions | undefined): EtcdChannel {
  const keeper = new SocketKeeper(tls === undefined ? credentials.createInsecure() : secure(tls));
  const onSocket = (message: unknown): void => {
    if (connecting.getStore() === keeper) keeper.keep((message as { readonly socket: Socket }).socket);
  };
  diagnosticsChannel.subscribe("net.client.socket", onSocket);
  const options = {
    ...OPTIONS,
    ...(tls?.servername === undefined
      ? {}
      : { "grpc.ssl_target_name_override": tls.servername, "grpc.default_authority": tls.servername }),
  };
  const channel = connecting.run(keeper, () => {
    const made = new OwnedChannel(host, keeper, options);
    made.getConnectivityState(true);
    return made;
  });
  return {
    channel,
    lost: untilLost(channel),
    destroy() {
      diagnosticsChannel.unsubscribe("net.client.socket", onSocket);
      channel.end();
      return keeper.destroy();
    },
  };
}

/** etcd3 closes its channel whenever a call fails, one that was given up too. This one is closed by its owner alone. */
class OwnedChannel extends Channel {
  override close(): void {}

  end(): void {
    super.close();
  }
}

function untilLost(channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    const follow = (state: connectivityState): void => {
      if (state === connectivityState.SHUTDOWN) return;
      channel.watchConnectivityState(state, Infinity, () => {
        if (state === connectivityState.READY) resolve();
        else follow(channel.getConnectivityState(false));
      });
    };
    follow(channel.getConnectivityState(false));
  });
}

function secure({ ca, cert, key, rejectUnauthorized }: EtcdTlsOptions): ChannelCredentials {
  return credentials.createSsl(bytes(ca), bytes(key), bytes(cert), { rejectUnauthorized: rejectUnauthorized ?? true });
}

function bytes(pem: string | Buffer | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem);
}

/** Credentials that keep hold of every socket of a channel; those of TLS pass through here alone. */
class SocketKeeper extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #sockets = new Set<Socket>();
  #destroyed = false;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
  }

  keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.unref();
    // HTTP/2 holds the process while a stream is open. Here streams wait for news, and whoever awaits an answer of a
    // registry holds the process himself.
    socket.ref = () => socket;
    if (this.#destroyed) socket.destroy();
  }

  async destroy(): Promise<void> {
    this.#destroyed = true;
    const sockets = [...this.#sockets];
    // Before any is destroyed: the close of one may close another at once.
    const closed = sockets.map((socket) => new Promise((resolve) => void socket.once("close", resolve)));
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...args: [Parameters<ChannelCredentials["_createSecureConnector"]>[0], ChannelOptions, CallCredentials?]
  ): ReturnType<ChannelCredentials["_createSecureConnector"]> {
    const inner = this.#inner._createSecureConnector(...args);
    return {
      connect: async (socket) => {
        const connected = await inner.connect(socket);
        if (connected.socket !== socket) this.keep(connected.socket);
        return connected;
      },
      // A closed channel tries once more all the same, and would then forget its connection.
      waitForReady: () =>
        this.#destroyed ? Promise.reject(new EtcdError("the channel is closed")) : inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }
}
