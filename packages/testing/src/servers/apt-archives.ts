/** A Debian archive that this machine's apt is configured to use. */
export interface AptArchive {
  readonly uri: string;
  /** The keyring that signs it, if the configuration names one by its path. */
  readonly signedBy?: string | undefined;
}

/** One source as the configuration has it. */
export interface AptSource extends AptArchive {
  readonly suites: readonly string[];
}

/** What `apt-get indextargets` is asked to print for each list of packages. */
export const INDEX_TARGET_FORMAT = "$(REPO_URI)|$(ORIGIN)|$(LABEL)";

/**
 * The archives of Debian itself: those that apt has already seen to come from Debian (`targets`, printed in
 * {@link INDEX_TARGET_FORMAT}), then, for a machine that never ran `apt-get update`, those sources whose suites are named
 * as Debian names its own. Security archives are left out: they do not carry whole suites.
 */
export function debianArchives(targets: string, sources: readonly AptSource[]): AptArchive[] {
  const found = new Map<string, AptArchive>();
  const add = (uri: string): void => {
    const clean = uri.replace(/\/+$/, "");
    const signedBy = sources.find((source) => source.uri.replace(/\/+$/, "") === clean)?.signedBy;
    if (/^https?:/.test(clean) && !found.has(clean)) found.set(clean, { uri: clean, signedBy });
  };
  for (const line of targets.split("\n")) {
    const [uri = "", origin, label] = line.split("|");
    if (origin === "Debian" && label === "Debian") add(uri);
  }
  for (const { uri, suites } of sources) {
    if (suites.some((suite) => DEBIAN_SUITE.test(suite))) add(uri);
  }
  return [...found.values()];
}

const DEBIAN_SUITE =
  /^(buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)(-updates|-backports)?$/;

/** Reads the one-line format of sources.list(5). Lines that are comments, `deb-src` or broken are left out. */
export function parseSourcesList(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split("\n")) {
    const [, options = "", uri, suite] = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line) ?? [];
    if (uri === undefined || suite === undefined) continue;
    sources.push({ uri, suites: [suite], signedBy: keyringPath(/(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1]) });
  }
  return sources;
}

/** Reads the deb822 format of sources.list(5): stanzas of `Field: value`, continued by lines that begin with a space. */
export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  const plain = text.replace(/^#.*\n?/gm, "");
  for (const stanza of plain.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    for (const [, name = "", value = ""] of stanza.matchAll(/^([\w-]+):((?:.*)(?:\n[ \t].*)*)/gm)) {
      fields.set(name.toLowerCase(), value.trim());
    }
    const words = (name: string): string[] => (fields.get(name) ?? "").split(/\s+/).filter((word) => word !== "");
    if (fields.get("enabled") === "no" || !words("types").includes("deb")) continue;
    for (const uri of words("uris")) {
      sources.push({ uri, suites: words("suites"), signedBy: keyringPath(fields.get("signed-by")) });
    }
  }
  return sources;
}

/** A `Signed-By` may also hold the key itself, or a fingerprint; only paths can be handed on. */
function keyringPath(value: string | undefined): string | undefined {
  return value !== undefined && /^\/\S+$/.test(value) ? value : undefined;
}
