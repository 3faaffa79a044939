/** What `hack/aws/operator.yaml` lets the operator do, and its roles at most. */

import { readFileSync } from 'node:fs'

import { isObject, objectAt } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'
import { evaluated } from './cloudformation.ts'
import { BOUNDARY, PROVIDER } from './installation.ts'

export const OPERATOR_TEMPLATE = readFileSync(new URL('../../../hack/aws/operator.yaml', import.meta.url), 'utf8')
export const WORKLOAD_POLICIES = ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess', 'arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess']

export const CONNECT_ROLES = ['arn:aws:iam::123456789012:role/teams/*', 'arn:aws:iam::123456789012:role/engineer']

export function operatorResources(parameters: Readonly<Record<string, Json>> = {}): JsonObject {
  return evaluated(OPERATOR_TEMPLATE, { OidcProviderArn: PROVIDER, ClusterName: 'prod', Boundary: BOUNDARY, WorkloadPolicyArns: WORKLOAD_POLICIES, ConnectRoleArns: CONNECT_ROLES, ...parameters })
}

export function operatorPolicy(parameters: Readonly<Record<string, Json>> = {}): JsonObject {
  const document = objectAt(objectAt(operatorResources(parameters), 'OperatorPolicy'), 'Properties')['PolicyDocument']
  if (!isObject(document)) throw new Error('the template has no policy')
  return document
}
