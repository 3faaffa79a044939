/** Credentials that a program gives, as clusters of cloud providers ask for it in a kubeconfig (client.authentication.k8s.io, ExecCredential). */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import { StenoError } from '../errors.ts'
import { isObject, objectAt, objectsAt, stringsAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

const run = promisify(execFile)
const DEADLINE_MS = 30_000
const MAX_OUTPUT_BYTES = 1024 * 1024
/** A token is replaced so long before it ends. */
const EARLY_MS = 60_000

export interface ExecDeps {
  readonly env: Readonly<Record<string, string | undefined>>
  /** ms since epoch. */
  readonly now: () => number
}

/**
 * @param exec the `exec` of a user of a kubeconfig
 * @returns gives a token, and asks the program again when it is about to end. Rejects with `config.invalid`
 */
export function execToken(exec: JsonObject, { env, now }: ExecDeps): () => Promise<string> {
  const command = textAt(exec, 'command') ?? ''
  const apiVersion = textAt(exec, 'apiVersion') ?? 'client.authentication.k8s.io/v1'
  const variables = Object.fromEntries(objectsAt(exec, 'env').map(each => [textAt(each, 'name') ?? '', textAt(each, 'value') ?? '']))
  let known: { readonly token: string; readonly endsMs: number } | undefined
  let asking: Promise<string> | undefined

  const ask = async (): Promise<string> => {
    const info = JSON.stringify({ apiVersion, kind: 'ExecCredential', spec: { interactive: false } })
    let output: string
    try {
      ;({ stdout: output } = await run(command, [...stringsAt(exec, 'args')], { env: { ...env, ...variables, KUBERNETES_EXEC_INFO: info }, timeout: DEADLINE_MS, maxBuffer: MAX_OUTPUT_BYTES }))
    } catch (cause) {
      // What it wrote may be of use, and may hold what is secret.
      throw new StenoError('config.invalid', `'${command}', which the kubeconfig names for credentials, failed; run 'kubectl get namespaces' to see what it says`, { cause })
    }
    const status = objectAt(parsed(output), 'status')
    const token = textAt(status, 'token')
    if (token === undefined || token === '') throw new StenoError('config.invalid', `'${command}', which the kubeconfig names for credentials, gives no token; client certificates of programs are not supported`)
    const endsMs = Date.parse(textAt(status, 'expirationTimestamp') ?? '')
    known = { token, endsMs: Number.isNaN(endsMs) ? Infinity : endsMs }
    return token
  }

  return async () => {
    if (known !== undefined && known.endsMs - EARLY_MS > now()) return known.token
    return await (asking ??= ask().finally(() => (asking = undefined)))
  }
}

function parsed(text: string): Json {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}
