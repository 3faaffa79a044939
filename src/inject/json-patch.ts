/** The difference of two JSON values as a small JSON Patch (RFC 6902): lists of named things are changed entry by entry, never replaced whole. */

import { isObject, sameJson, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string }

/** Applied in order, the operations make `after` of `before`. None when they are equal. */
export function jsonPatch(before: Json, after: Json, path = ''): PatchOperation[] {
  if (sameJson(before, after)) return []
  if (isObject(before) && isObject(after)) return objectPatch(before, after, path)
  if (Array.isArray(before) && Array.isArray(after)) return listPatch(before, after, path)
  return [{ op: 'replace', path, value: after }]
}

function objectPatch(before: JsonObject, after: JsonObject, path: string): PatchOperation[] {
  const operations: PatchOperation[] = []
  for (const [name, old] of Object.entries(before)) if (old !== undefined && own(after, name) === undefined) operations.push({ op: 'remove', path: `${path}/${escaped(name)}` })
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined) continue
    const old = own(before, name)
    const at = `${path}/${escaped(name)}`
    if (old === undefined) operations.push({ op: 'add', path: at, value })
    else operations.push(...jsonPatch(old, value, at))
  }
  return operations
}

/** A member of the object itself: a user may call a field `valueOf`, which every object inherits. */
function own(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

function listPatch(before: readonly Json[], after: readonly Json[], path: string): PatchOperation[] {
  if (before.length === after.length) return after.flatMap((value, index) => jsonPatch(before[index] ?? null, value, `${path}/${index}`))
  const names = { before: namesOf(before), after: namesOf(after) }
  if (names.before === undefined || names.after === undefined) return [{ op: 'replace', path, value: after }]
  const wanted = names.after
  const kept = names.before.filter(name => wanted.includes(name))
  // Entries that stay must stay in order, or the positions below mean nothing.
  if (!sameJson(kept, wanted.filter(name => kept.includes(name)))) return [{ op: 'replace', path, value: after }]
  const operations: PatchOperation[] = []
  for (const [index, name] of [...names.before.entries()].toReversed()) if (!wanted.includes(name)) operations.push({ op: 'remove', path: `${path}/${index}` })
  const old = new Map(names.before.map((name, index) => [name, before[index] ?? null]))
  for (const [index, value] of after.entries()) {
    const earlier = old.get(wanted[index] ?? '')
    if (earlier === undefined) operations.push({ op: 'add', path: `${path}/${index}`, value })
    else operations.push(...jsonPatch(earlier, value, `${path}/${index}`))
  }
  return operations
}

/** The names of a list in which every entry has one of its own. */
function namesOf(list: readonly Json[]): readonly string[] | undefined {
  const names = list.flatMap(each => textAt(each, 'name') ?? [])
  return names.length === list.length && new Set(names).size === names.length ? names : undefined
}

/** RFC 6901, section 3. */
function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
