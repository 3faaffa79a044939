/** Fills the template of the krew manifest. Pure. */

export interface Release {
  /** With a v, as krew wants it: v0.1.0. */
  readonly version: string
  readonly homepage: string
  /** Where the archives lie, without the last slash. */
  readonly base: string
  /** Of each archive, in hexadecimal: `linux_amd64` → sum. */
  readonly sha256: Readonly<Record<string, string>>
}

/** @throws TypeError when a release does not say everything, or something that krew would refuse */
export function krewManifest(template: string, { version, homepage, base, sha256 }: Release): string {
  if (!/^v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/.test(version)) throw new TypeError(`the version is v and three numbers, such as v0.1.0, not ${version}`)
  for (const url of [homepage, base]) if (!/^https:\/\/\S+[^/\s]$/.test(url)) throw new TypeError(`an https address without a slash at its end is needed, not ${url}`)
  return template.replace(/^#.*\n/gm, '').replace(/\{(version|homepage|base|sha256 of (\w+))\}/g, (_, name: string, platform: string | undefined) => {
    if (platform === undefined) return { version, homepage, base }[name] ?? ''
    const sum = sha256[platform]
    if (sum === undefined || !/^[0-9a-f]{64}$/.test(sum)) throw new TypeError(`there is no archive of ${platform}; run hack/krew/pack.ts archive on such a machine`)
    return sum
  })
}
