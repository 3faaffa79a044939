/** JSON Patch (RFC 6902) as an API server applies it: written from the RFC, apart from the code that makes patches. */

import type { PatchOperation } from '../../src/inject/json-patch.ts'
import type { Json } from '../../src/policy/json.ts'

type Mutable = { [key: string]: Mutable } | Mutable[] | string | number | boolean | null

/** @returns a new document. Throws where the RFC says that the patch fails */
export function applyPatch(document: Json, patch: readonly PatchOperation[]): Json {
  const root: { '': Mutable } = { '': structuredClone(document) as Mutable }
  for (const operation of patch) {
    const tokens = ['', ...operation.path.split('/').slice(1).map(token => token.replaceAll('~1', '/').replaceAll('~0', '~'))]
    const last = tokens.at(-1) ?? ''
    let parent: Mutable = root
    for (const token of tokens.slice(0, -1)) parent = child(parent, token)
    if (Array.isArray(parent)) {
      const index = last === '-' ? parent.length : Number(last)
      if (!Number.isInteger(index) || index < 0 || index > (operation.op === 'add' ? parent.length : parent.length - 1)) throw new Error(`no place ${operation.path}`)
      if (operation.op === 'add') parent.splice(index, 0, structuredClone(operation.value) as Mutable)
      else if (operation.op === 'remove') parent.splice(index, 1)
      else parent[index] = structuredClone(operation.value) as Mutable
    } else if (typeof parent === 'object' && parent !== null) {
      if (operation.op !== 'add' && !Object.hasOwn(parent, last)) throw new Error(`nothing at ${operation.path}`)
      if (operation.op === 'remove') delete parent[last]
      else parent[last] = structuredClone(operation.value) as Mutable
    } else throw new Error(`${operation.path} leads into a value`)
  }
  return root[''] as Json
}

function child(parent: Mutable, token: string): Mutable {
  const found = Array.isArray(parent) ? parent[Number(token)] : typeof parent === 'object' && parent !== null && Object.hasOwn(parent, token) ? parent[token] : undefined
  if (found === undefined) throw new Error(`no ${token} on the way`)
  return found
}
