import { type Instance, type InstanceInit, createInstance } from "@rollcall/core";

/** Instance number `n` of the service "lorem", at 10.0.0.n:80, with the id `n`. In the order of `n` for n < 10. */
export function lorem(n: number, more: Partial<InstanceInit> = {}): Instance {
  return createInstance({ service: "lorem", host: `10.0.0.${n}`, port: 80, id: String(n), ...more });
}

/** Instances 1 to `count` of "lorem". */
export function lorems(count: number): Instance[] {
  return Array.from({ length: count }, (_, index) => lorem(index + 1));
}
