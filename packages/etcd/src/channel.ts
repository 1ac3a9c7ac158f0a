import type { Socket } from "node:net";
import { type CallCredentials, Channel, ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";

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
  /** Ends every call on it, and its sockets, at once. */
  destroy(): void;
}

const OPTIONS: ChannelOptions = {
  // A connection that is silently dead says nothing; etcd tolerates pings that are 5 s apart or more.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 2_000,
  "grpc.keepalive_permit_without_calls": 1,
  // A channel must not inherit the connection, or the back-off, of one that was thrown away.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  // No DNS request for a configuration that nobody publishes.
  "grpc.service_config_disable_resolution": 1,
  // 4 MB by default, which is about 10,000 instances.
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
};

/**
 * Opens a gRPC channel whose sockets never keep the process alive, and end when they are told to. gRPC gives its users
 * no hold on either: a stream that waits for events would keep a process running for ever, and a closed channel leaves
 * the socket to a peer that may never answer.
 *
 * @param host `name:port`.
 */
export function openChannel(host: string, tls: EtcdTlsOptions | undefined): EtcdChannel {
  const sockets = new SocketKeeper(tls === undefined ? credentials.createInsecure() : secure(tls));
  const channel = new Channel(host, sockets, {
    ...OPTIONS,
    ...(tls?.servername === undefined
      ? {}
      : { "grpc.ssl_target_name_override": tls.servername, "grpc.default_authority": tls.servername }),
  });
  return {
    channel,
    destroy() {
      channel.close();
      sockets.destroy();
    },
  };
}

function secure({ ca, cert, key, rejectUnauthorized }: EtcdTlsOptions): ChannelCredentials {
  return credentials.createSsl(bytes(ca), bytes(key), bytes(cert), { rejectUnauthorized: rejectUnauthorized ?? true });
}

function bytes(pem: string | Buffer | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem);
}

/** Credentials that keep hold of every socket which passes through them. */
class SocketKeeper extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #sockets = new Set<Socket>();
  #destroyed = false;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
  }

  destroy(): void {
    this.#destroyed = true;
    for (const socket of this.#sockets) socket.destroy();
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
        this.#keep(socket);
        const connected = await inner.connect(socket);
        if (connected.socket !== socket) this.#keep(connected.socket);
        return connected;
      },
      waitForReady: () => inner.waitForReady(),
      getCallCredentials: () => inner.getCallCredentials(),
      destroy: () => inner.destroy(),
    };
  }

  #keep(socket: Socket): void {
    if (this.#destroyed) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.unref();
    // HTTP/2 holds the process while a stream is open. Here streams wait for news, and whoever awaits an answer of a
    // registry holds the process himself.
    socket.ref = () => socket;
  }
}
