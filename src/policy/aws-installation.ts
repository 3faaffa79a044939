/** The account and cluster for which roles are made, as the installation says. Pure: injector and operator read the same. */

import type { Reader } from './problem.ts'

export interface AwsInstallation {
  readonly account: string
  /** Of the cluster: its token service and EKS are asked there. */
  readonly region: string
  readonly partition: 'aws' | 'aws-cn' | 'aws-us-gov'
  /** Name of the cluster, which on EKS is its own. */
  readonly cluster: string
  /** ARN of the IAM identity provider that trusts the cluster's tokens. */
  readonly oidcProvider: string
  /** ARN of the permissions boundary of every role. Without it none is made. */
  readonly boundary?: string
  /** Begins and ends with a slash. */
  readonly rolePath: string
  /** What the name of every role begins with. */
  readonly rolePrefix: string
}

const ACCOUNT = { pattern: /^[0-9]{12}$/, says: 'must be the 12 digits of an AWS account, in quotes' }
const REGION = { pattern: /^[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}$/, says: 'must be the name of an AWS region such as eu-west-1' }
const CLUSTER = { pattern: /^[^\p{Cc}]{1,100}$/u, says: 'must be the name of the cluster, at most 100 characters' }
const PROVIDER = { pattern: /^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider\/[!-~]{1,200}$/, says: 'must be the ARN of an IAM OIDC identity provider' }
const BOUNDARY = { pattern: /^arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy\/[!-~]{1,512}$/, says: 'must be the ARN of a managed policy' }
const PATH = { pattern: /^(?=.{1,128}$)\/(?:[\w+=,.@-]+\/)*$/, says: 'must be the path of IAM roles such as /steno/' }
const PREFIX = { pattern: /^[A-Za-z0-9_+=,.@-]{1,16}$/, says: 'must be the beginning of names of IAM roles, at most 16 characters' }
const FIELDS = ['account', 'region', 'partition', 'cluster', 'oidcProvider', 'boundary', 'rolePath', 'rolePrefix']

/** @returns undefined when something is wrong, of which `read` knows then */
export function readAwsInstallation(read: Reader, value: unknown, path: string): AwsInstallation | undefined {
  const aws = read.object(value, path, FIELDS)
  if (aws === undefined) return undefined
  const account = read.text(aws['account'], `${path}.account`, ACCOUNT)
  const region = read.text(aws['region'], `${path}.region`, REGION)
  const partition = read.oneOf(aws['partition'], `${path}.partition`, ['aws', 'aws-cn', 'aws-us-gov'], 'aws')
  const cluster = read.text(aws['cluster'], `${path}.cluster`, CLUSTER)
  const oidcProvider = read.text(aws['oidcProvider'], `${path}.oidcProvider`, PROVIDER)
  const boundary = aws['boundary'] === undefined ? undefined : read.text(aws['boundary'], `${path}.boundary`, BOUNDARY)
  const rolePath = read.text(aws['rolePath'] ?? '/steno/', `${path}.rolePath`, PATH)
  const rolePrefix = read.text(aws['rolePrefix'] ?? 'steno', `${path}.rolePrefix`, PREFIX)
  if (account === undefined || region === undefined || partition === undefined || cluster === undefined || oidcProvider === undefined || rolePath === undefined || rolePrefix === undefined) return undefined
  return { account, region, partition, cluster, oidcProvider, ...(boundary === undefined ? {} : { boundary }), rolePath, rolePrefix }
}
