/** What servers are made with. Each has a file in ./frameworks, which only its servers load. */
export const FRAMEWORKS = ["http", "express", "nest-express", "nest-fastify"] as const;

export type Framework = (typeof FRAMEWORKS)[number];

/** For the table. */
export const TITLES: Readonly<Record<Framework, string>> = {
  http: "node:http",
  express: "Express",
  "nest-express": "Nest, Express",
  "nest-fastify": "Nest, Fastify",
};

/** @throws Error that lists the names there are. */
export function frameworkNamed(name: string): Framework {
  const found = FRAMEWORKS.find((framework) => framework === name);
  if (found !== undefined) return found;
  throw new Error(`no framework is called "${name}"; there are ${FRAMEWORKS.join(", ")}`);
}
