/** What may not be there. */

import { KubeError } from './client.ts'

/** @returns undefined where the API server answers 404. Rejects with the KubeError of any other failure */
export async function ifFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof KubeError && error.status === 404) return undefined
    throw error
  }
}
