import { createRequire } from "node:module";
import { Metadata, connectivityState, experimental } from "@grpc/grpc-js";
import { BalancedPool } from "undici";

/** What others do for a call before it is sent, over so many targets, none of which is ever connected: their picks. */
export const PEERS: Readonly<Record<string, (size: number) => () => unknown>> = {
  /** Its own balancers and pickers; only the connections below them are stand-ins that say they are ready. */
  "grpc-js round_robin": (size) => {
    let picker: experimental.Picker | undefined;
    const balancer = new experimental.ChildLoadBalancerHandler({
      createSubchannel: readySubchannel,
      updateState: (_state, newest) => (picker = newest),
      requestReresolution: () => undefined,
      addChannelzChild: () => undefined,
      removeChannelzChild: () => undefined,
    });
    const endpoints = Array.from({ length: size }, (_, index) => ({ addresses: [{ host: hostOf(index), port: 80 }] }));
    const config = experimental.parseLoadBalancingConfig({ round_robin: {} });
    balancer.updateAddressList(experimental.statusOrFromValue(endpoints), config, {}, "");
    const args = { metadata: new Metadata(), extraPickInfo: {} };
    return () => {
      const picked = (picker as experimental.Picker).pick(args);
      if (picked.pickResultType !== experimental.PickResultType.COMPLETE) throw new Error("not ready");
      // Its round robin does not want to know of their ends.
      picked.onCallStarted?.();
      return picked;
    };
  },

  /** What its calls go through: it filters the whole list for each. */
  "moleculer EndpointList.next": (size) => {
    // Not among what the package exports.
    const load = createRequire(createRequire(import.meta.url).resolve("moleculer"));
    const EndpointList = load("./src/registry/endpoint-list.js") as EndpointListClass;
    const { Strategies } = load("./") as { readonly Strategies: { readonly RoundRobin: unknown } };
    const registry = { opts: { preferLocal: true }, logger: {} };
    const list = new EndpointList(registry, { nodeID: "here" }, "lorem.word", "", ReadyEndpoint, Strategies.RoundRobin);
    for (let index = 0; index < size; index++) list.endpoints.push(new ReadyEndpoint());
    return () => list.next({});
  },

  "undici BalancedPool": (size) => {
    const pool = new BalancedPool(Array.from({ length: size }, (_, index) => `http://${hostOf(index)}`));
    const isPick = ({ description }: symbol): boolean => description === "get dispatcher";
    const pick = Object.getOwnPropertySymbols(BalancedPool.prototype).find(isPick) as symbol;
    return () => (pool as unknown as Record<symbol, () => unknown>)[pick]?.();
  },
};

type EndpointListClass = new (...args: unknown[]) => {
  readonly endpoints: unknown[];
  next(context: object): unknown;
};

/** With all that the list looks at. */
class ReadyEndpoint {
  readonly state = true;
  get isAvailable(): boolean {
    return this.state;
  }
}

function readySubchannel(): experimental.SubchannelInterface {
  const nothing = (): void => undefined;
  const subchannel = {
    getConnectivityState: () => connectivityState.READY,
    addConnectivityStateListener: nothing,
    removeConnectivityStateListener: nothing,
    startConnecting: nothing,
    throttleKeepalive: nothing,
    ref: nothing,
    unref: nothing,
    getAddress: () => "",
    isHealthy: () => true,
    addHealthStateWatcher: nothing,
    removeHealthStateWatcher: nothing,
    getChannelzRef: () => ({ kind: "subchannel", id: 0, name: "" }),
  };
  return subchannel as unknown as experimental.SubchannelInterface;
}

function hostOf(index: number): string {
  return `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
}
