import * as fc from "fast-check";

/** Whatever `createInstance` takes. */
export function anyInstance() {
  const text = fc.string({ unit: "grapheme" });
  const name = text.filter((each) => each.trim() !== "");
  return fc.record(
    {
      service: name,
      host: fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()),
      port: fc.integer({ min: 1, max: 65_535 }),
      id: name,
      weight: fc.double({ min: 0, max: 1e6, noNaN: true }).map((weight) => weight + 0), // JSON knows no -0
      zone: text,
      tags: fc.array(text),
      metadata: fc.dictionary(
        text.filter((key) => key !== "__proto__"),
        text,
      ),
    },
    { requiredKeys: ["service", "host", "port"] },
  );
}
