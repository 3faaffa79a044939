/** The policies and labels of the pod, as the injector hands them to its recorder (`src/inject/recorder-container.ts`). */

import { readFileSync } from 'node:fs'

import { StenoError } from '../errors.ts'
import { shortDigest } from '../platform/digest.ts'
import { readCompiled } from '../policy/compile.ts'
import type { RecorderPolicy } from '../policy/compile.ts'
import type { CliIo } from './io.ts'

/** Of a pod; what goes past it is not of this API. */
const MAX_LABELS = 256

/** With which the pod was made; none without an injector. Throws `policy.invalid`. */
export function policiesOf(env: CliIo['env']): RecorderPolicy[] {
  const text = env['STENO_POLICIES'] ?? ''
  if (text === '') return []
  let texts: unknown
  try {
    texts = JSON.parse(text)
  } catch {
    texts = undefined
  }
  if (!Array.isArray(texts) || !texts.every((each): each is string => typeof each === 'string')) throw new StenoError('policy.invalid', 'STENO_POLICIES must be a JSON list of texts, as the injector sets it')
  return texts.map(each => {
    const read = readCompiled(each, shortDigest)
    if ('problem' in read) throw new StenoError('policy.invalid', `STENO_POLICIES holds a policy that cannot be read: ${read.problem}`)
    return read.policy
  })
}

/** A label a line, as the kubelet writes it: `name="value"`. Without a file, or with one that cannot be read, none. */
export function labelsOf(env: CliIo['env']): Readonly<Record<string, string>> | undefined {
  const file = env['STENO_LABELS_FILE'] ?? ''
  if (file === '') return undefined
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  // Values of labels need no escapes.
  const labels = [...text.matchAll(/^([^="\s]+)="([^"\\]*)"$/gm)].slice(0, MAX_LABELS).map(([, name = '', value = '']) => [name, value])
  return labels.length === 0 ? undefined : Object.fromEntries(labels)
}
