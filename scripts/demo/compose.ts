import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Compose, in whichever form there is one here: v2 as a part of `docker`, or `docker-compose`. */
const FORMS = [["docker", "compose"], ["docker-compose"]] as const;

const NO_COMPOSE = "there is neither `docker compose` nor `docker-compose`";

/** What `docker-compose.yml` builds on. */
export const IMAGES = [
  { variable: "NODE_IMAGE", image: process.env["NODE_IMAGE"] ?? "node:24-slim" },
  { variable: "CONSUL_IMAGE", image: process.env["CONSUL_IMAGE"] ?? "hashicorp/consul:1.21" },
] as const;

/** The services of `docker-compose.yml`, as one project of containers. */
export interface Compose {
  /** Runs a command of Compose for this project; resolves with what it printed. */
  run(...args: readonly string[]): Promise<string>;
  /** Runs a command of Docker itself. */
  docker(...args: readonly string[]): Promise<string>;
}

/** What stands in the way of Docker, in words; undefined if nothing does. */
export async function missingDocker(): Promise<string | undefined> {
  try {
    await execute(["docker", "version", "--format", "{{.Server.Version}}"], {});
  } catch (error) {
    return `no Docker engine answers (${lastLine(error)})`;
  }
  if ((await findForm()) === undefined) return NO_COMPOSE;
  for (const { image, variable } of IMAGES) {
    try {
      await execute(["docker", "image", "inspect", image], {}).catch(() => execute(["docker", "pull", image], {}));
    } catch (error) {
      return `the image ${image} is not here and cannot be pulled; ${variable} names another one (${lastLine(error)})`;
    }
  }
  return undefined;
}

/** The project of this name; `variables` are those of `docker-compose.yml`. Rejects where Compose is not to be had. */
export async function compose(project: string, variables: Readonly<Record<string, string>>): Promise<Compose> {
  const form = await findForm();
  if (form === undefined) throw new Error(NO_COMPOSE);
  return {
    run: (...args) => execute([...form, "--project-name", project, ...args], variables),
    docker: (...args) => execute(["docker", ...args], {}),
  };
}

async function findForm(): Promise<readonly string[] | undefined> {
  for (const form of FORMS) {
    const found = await execute([...form, "version", "--short"], {}).then(
      () => true,
      () => false,
    );
    if (found) return form;
  }
  return undefined;
}

/** Runs a program; resolves with its output, rejects with what it said if it ends with anything but 0. */
function execute(
  [program = "", ...args]: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<string> {
  // In a group of its own: Ctrl-C at the terminal is for this process, which then takes everything down in order.
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, ...variables },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output: string[] = [];
  const errors: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => output.push(text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => errors.push(text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve(output.join("").trim());
      else {
        const said = `${output.join("")}\n${errors.join("")}`.trim().split("\n").slice(-TOLD_LINES).join("\n");
        reject(new Error(`${[program, ...args].join(" ")} ended with ${signal ?? `exit code ${code}`}\n${said}`));
      }
    });
  });
}

/** How much of what a program said is worth being read when it failed. */
const TOLD_LINES = 15;

function lastLine(error: unknown): string {
  return (
    String(error instanceof Error ? error.message : error)
      .split("\n")
      .at(-1) ?? ""
  );
}
