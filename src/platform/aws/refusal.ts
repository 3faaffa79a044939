/** What an answer of AWS says no with, whatever the protocol. An answer of another form, such as a proxy's page, is known by its status alone. Pure. */

import { awsErrorName } from './error-name.ts'
import type { AwsAnswer } from './http.ts'
import { xmlElement } from './xml-element.ts'

export interface AwsRefusal {
  /** The code of the service, or `status 502`. */
  readonly name: string
  /** Empty when it says nothing. */
  readonly message: string
  readonly status: number
}

export function refusalOf({ status, headers, body }: AwsAnswer): AwsRefusal {
  const parsed = parseJson(body)
  const said = (field: string): string | undefined => {
    const value: unknown = typeof parsed === 'object' && parsed !== null ? Object.entries(parsed).find(([name]) => name.toLowerCase() === field)?.[1] : undefined
    return typeof value === 'string' ? value : undefined
  }
  const type = headers['x-amzn-errortype']
  const name = (typeof type === 'string' ? type : undefined) ?? said('__type') ?? xmlElement(body, 'Code') ?? `status ${status}`
  return { name: awsErrorName(name), message: said('message') ?? xmlElement(body, 'Message') ?? '', status }
}

/** @returns undefined when it is no JSON */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
