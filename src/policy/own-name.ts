/** Names of what is made for a policy in its namespace. The operator makes it, the injector mounts it. */

/** Of an object whose name is a DNS subdomain. */
const MAX_NAME = 253

/** `steno-PURPOSE-POLICY`; the end of a long name gives way to a digest of the whole. */
export function ownName(purpose: string, policy: string, digest: (text: string) => string): string {
  const name = `steno-${purpose}-${policy}`
  if (name.length <= MAX_NAME) return name
  const end = `-${digest(policy)}`
  return `${name.slice(0, MAX_NAME - end.length).replace(/[-.]+$/, '')}${end}`
}

/** Of the ConfigMap with the compiled policy. */
export function configMapName(policy: string, digest: (text: string) => string): string {
  return ownName('policy', policy, digest)
}
