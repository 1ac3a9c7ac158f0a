import { describe, expect, it } from "vitest";
import { debianArchives, parseDeb822Sources, parseSourcesList } from "./apt-archives.ts";

describe("parseSourcesList", () => {
  it("reads deb lines with and without options, and nothing else", () => {
    const text = `
# deb http://commented.test/debian bookworm main
deb http://mirror.test/debian bookworm main contrib
  deb [arch=amd64 signed-by=/keys/mirror.gpg] https://mirror.test/other/ stable main  # a comment
deb-src http://mirror.test/debian bookworm main
deb
`;
    expect(parseSourcesList(text)).toEqual([
      { uri: "http://mirror.test/debian", suites: ["bookworm"], signedBy: undefined },
      { uri: "https://mirror.test/other/", suites: ["stable"], signedBy: "/keys/mirror.gpg" },
    ]);
  });
});

describe("parseDeb822Sources", () => {
  it("reads stanzas with several addresses and suites, comments, and continued fields", () => {
    const text = `Types: deb deb-src
# a comment in between
URIs: http://one.test/debian
 http://two.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg

types: deb
uris: http://three.test/debian
suites: trixie
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY
`;
    expect(parseDeb822Sources(text)).toEqual([
      { uri: "http://one.test/debian", suites: ["bookworm", "bookworm-updates"], signedBy: "/keys/debian.gpg" },
      { uri: "http://two.test/debian", suites: ["bookworm", "bookworm-updates"], signedBy: "/keys/debian.gpg" },
      { uri: "http://three.test/debian", suites: ["trixie"], signedBy: undefined },
    ]);
  });

  it("leaves out what is disabled or only source code", () => {
    expect(parseDeb822Sources("Types: deb\nEnabled: no\nURIs: http://a.test\nSuites: sid\n")).toEqual([]);
    expect(parseDeb822Sources("Types: deb-src\nURIs: http://a.test\nSuites: sid\n")).toEqual([]);
    expect(parseDeb822Sources("")).toEqual([]);
  });
});

describe("debianArchives", () => {
  const source = (uri: string, suite: string, signedBy?: string) => ({ uri, suites: [suite], signedBy });

  it("takes what apt knows to come from Debian, once, with the keyring of its source", () => {
    const targets = `http://mirror.test/debian/|Debian|Debian
http://mirror.test/debian/|Debian|Debian
http://security.test/debian-security/|Debian|Debian-Security
http://other.test/|Somebody|Something
`;
    const sources = [source("http://mirror.test/debian", "internal-name", "/keys/mirror.gpg")];
    expect(debianArchives(targets, sources)).toEqual([
      { uri: "http://mirror.test/debian", signedBy: "/keys/mirror.gpg" },
    ]);
  });

  it("falls back to sources whose suites are Debian's, where apt has no lists yet", () => {
    const sources = [
      source("http://mirror.test/debian", "bookworm"),
      source("http://mirror.test/debian/", "bookworm-updates"),
      source("http://mirror.test/debian-security", "bookworm-security"),
      source("http://other.test/deb", "nodistro"),
      source("cdrom:[Debian]/", "bookworm"),
    ];
    expect(debianArchives("", sources)).toEqual([{ uri: "http://mirror.test/debian", signedBy: undefined }]);
  });

  it("finds none where apt serves another distribution", () => {
    expect(
      debianArchives("http://archive.test/ubuntu/|Ubuntu|Ubuntu\n", [source("http://archive.test/ubuntu", "noble")]),
    ).toEqual([]);
  });
});
