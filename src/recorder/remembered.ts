/** The same few session ids, tokens and names come with every call: what was hashed lately is not hashed again. */

const MOST = 1024
const MAX_CHARS = 4096

/** A function that keeps what it gave for up to 1,024 texts of up to 4,096 characters, and forgets all of it when there are more. */
export function remembered(hash: (text: string) => string): (text: string) => string {
  const known = new Map<string, string>()
  return text => {
    const before = known.get(text)
    if (before !== undefined) return before
    const hashed = hash(text)
    if (text.length > MAX_CHARS) return hashed
    if (known.size >= MOST) known.clear()
    known.set(text, hashed)
    return hashed
  }
}
