import { Get } from "@nestjs/common";
import { memoryRegistry } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { ADAPTERS, application, controllerOf, listen } from "../test/application.ts";
import { DiscoveryModule } from "./index.ts";

const HEADER = "endpoint-load-metrics";
const FORM = /^TEXT application_utilization=[\d.]+,named_metrics\.in_flight=(\d+)$/;

describe.each(ADAPTERS)("an application on %s", (adapter) => {
  /** With a route that answers at once, and one that waits. */
  const started = async (options: { readonly loadReports?: boolean }) => {
    const waiting = Promise.withResolvers<string>();
    const quick = (): string => "done";
    const slow = (): Promise<string> => waiting.promise;
    const app = await application(
      {
        imports: [
          DiscoveryModule.forRoot({ registry: memoryRegistry(), ...options }),
          DiscoveryModule.forRoot({ registry: memoryRegistry(), name: "other" }),
        ],
        controllers: [controllerOf([Get("/quick"), quick], [Get("/slow"), slow])],
      },
      adapter,
    );
    const url = await listen(app);
    const said = async (path: string): Promise<string | null> => (await fetch(url + path)).headers.get(HEADER);
    return { said, release: () => waiting.resolve("done") };
  };

  it("says with each answer how loaded it is, if it is told to", async () => {
    const { said, release } = await started({ loadReports: true });
    const inFlight = async (path: string): Promise<string | undefined> => FORM.exec((await said(path)) ?? "")?.[1];
    expect(await inFlight("/quick")).toBe("0");
    const slow = inFlight("/slow");
    await expect.poll(() => inFlight("/quick")).toBe("1");
    expect(await inFlight("/missing")).toBe("1");
    release();
    expect(await slow).toBe("0");
  });

  it.each([{}, { loadReports: false }])("says nothing otherwise: %o", async (options) => {
    const { said } = await started(options);
    expect(await said("/quick")).toBeNull();
  });
});
