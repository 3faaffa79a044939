{{- define "steno.labels" -}}
app.kubernetes.io/name: steno
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "steno.injector.selector" -}}
app.kubernetes.io/name: steno
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: injector
{{- end }}

{{- define "steno.injector.labels" -}}
{{ include "steno.labels" . }}
app.kubernetes.io/component: injector
{{- end }}

{{- define "steno.operator.selector" -}}
app.kubernetes.io/name: steno
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "steno.operator.labels" -}}
{{ include "steno.labels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "steno.image" -}}
{{- $repository := required "image.repository is needed: the image of steno" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* How large the heap of a container with these resources may be: half of its memory limit. The collector then works for little memory, where without a limit of the heap it lets it grow fourfold. */ -}}
{{- define "steno.heap" -}}
{{- $limit := dig "limits" "memory" "" . | toString -}}
{{- $mib := 256 -}}
{{- if regexMatch "^[0-9]+Mi$" $limit -}}{{- $mib = div (trimSuffix "Mi" $limit | int) 2 -}}{{- else if regexMatch "^[0-9]+Gi$" $limit -}}{{- $mib = mul (trimSuffix "Gi" $limit | int) 512 -}}{{- end -}}
{name: NODE_OPTIONS, value: "--max-old-space-size={{ $mib }}"}
{{- end }}

{{- define "steno.injector.config" -}}
image: {{ include "steno.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
namespace: {{ .Release.Namespace }}
sink: {{ toJson (.Values.recorder.sink | default (dict "emptyDir" (dict "sizeMib" 512))) }}
{{- with .Values.recorder.keySecret }}
keySecret: {{ . | quote }}
{{- end }}
{{- with .Values.recorder.roleArn }}
roleArn: {{ . }}
{{- end }}
{{- with .Values.recorder.awsEndpoint }}
awsEndpoint: {{ . }}
{{- end }}
{{- with .Values.aws }}
{{- if .account }}
aws:
  account: {{ .account | quote }}
  region: {{ required "aws.region is needed with aws.account" .region }}
  partition: {{ .partition }}
  cluster: {{ required "aws.cluster is needed with aws.account" .cluster | quote }}
  oidcProvider: {{ required "aws.oidcProvider is needed with aws.account" .oidcProvider }}
  {{- with .boundary }}
  boundary: {{ . }}
  {{- end }}
  rolePath: {{ .rolePath }}
  rolePrefix: {{ .rolePrefix | quote }}
{{- end }}
{{- end }}
cpu: {{ .Values.recorder.cpu | quote }}
{{- with .Values.recorder.cpuLimit }}
cpuLimit: {{ . | quote }}
{{- end }}
guaranteedCpu: {{ .Values.recorder.guaranteedCpu | quote }}
memoryMib: {{ int .Values.recorder.memoryMib }}
spoolMib: {{ int .Values.recorder.spoolMib }}
{{- end }}

{{/* Ports on which AWS is reached, names included; of the endpoint in its place, if there is one. */}}
{{- define "steno.aws.ports" -}}
{port: 53, protocol: UDP}, {port: 53, protocol: TCP}, {port: 443, protocol: TCP}
{{- if . }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- if ne $port "443" }}, {port: {{ $port }}, protocol: TCP}{{ end }}
{{- end }}
{{- end }}

{{/* Where frames about access go, as JSON; empty when nowhere. */}}
{{- define "steno.injector.accessSink" -}}
{{- if .Values.injector.access.sink -}}
{{ toJson .Values.injector.access.sink }}
{{- else if hasKey .Values.recorder.sink "firehose" -}}
{{ toJson .Values.recorder.sink }}
{{- end -}}
{{- end }}

{{- define "steno.injector.secretName" -}}
{{- if eq .Values.injector.certificates.mode "provided" -}}
{{ required "injector.certificates.secretName is needed with mode provided" .Values.injector.certificates.secretName }}
{{- else -}}
steno-injector-tls
{{- end -}}
{{- end }}

{{/* A configuration of webhooks/, for this namespace. Takes a list of the file and the root. */}}
{{- define "steno.webhooks" -}}
{{- $root := index . 1 -}}
{{- $certificates := $root.Values.injector.certificates -}}
{{- $configuration := $root.Files.Get (index . 0) | fromYaml -}}
{{- $_ := set $configuration.metadata "labels" (include "steno.injector.labels" $root | fromYaml) -}}
{{- if eq $certificates.mode "certManager" -}}
{{- $_ := set $configuration.metadata "annotations" (dict "cert-manager.io/inject-ca-from" (printf "%s/steno-injector" $root.Release.Namespace)) -}}
{{- end -}}
{{- range $webhook := $configuration.webhooks -}}
{{- $_ := set $webhook "timeoutSeconds" (int $root.Values.injector.timeoutSeconds) -}}
{{- $_ := set $webhook.clientConfig.service "namespace" $root.Release.Namespace -}}
{{- if eq $certificates.mode "provided" -}}
{{- $_ := set $webhook.clientConfig "caBundle" (required "injector.certificates.caBundle is needed with mode provided" $certificates.caBundle | b64enc) -}}
{{- end -}}
{{- range $expression := dig "namespaceSelector" "matchExpressions" (list) $webhook -}}
{{- if eq $expression.key "kubernetes.io/metadata.name" -}}
{{- $_ := set $expression "values" (concat (without $expression.values "steno-system") (list $root.Release.Namespace) $root.Values.injector.excludedNamespaces | uniq) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{ toYaml $configuration }}
{{- end }}
