/** The real kube-controller-manager, with nothing but the controllers that are named. Where it comes from: `STENO_CONTROLLER_MANAGER`, else `hack/cluster/binaries.sh`. */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { closeAtTheEnd } from './leftovers.ts'

/** Undefined says that tests which need it are to be skipped; in CI it throws. */
export function findControllerManager(): string | undefined {
  const named = process.env['STENO_CONTROLLER_MANAGER']
  if (named !== undefined) return named
  try {
    const folder = execFileSync(fileURLToPath(new URL('../../hack/cluster/binaries.sh', import.meta.url)), ['--find'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const program = join(folder, 'kube-controller-manager')
    return existsSync(program) ? program : undefined
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    console.log('  skipped, kube-controller-manager is missing: run hack/cluster/binaries.sh')
    return undefined
  }
}

/** @param kubeconfig of an admin @returns ends it */
export function startControllerManager(program: string, kubeconfig: string, controllers: readonly string[]): () => Promise<void> {
  const child = spawn(program, [`--kubeconfig=${kubeconfig}`, `--controllers=${controllers.join(',')}`, '--leader-elect=false', '--secure-port=0', '--v=0'], { stdio: 'ignore' })
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  closeAtTheEnd(stop)
  return stop
}
