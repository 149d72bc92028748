{{- define "pgwarden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "pgwarden.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "pgwarden.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pgwarden.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Cluster-scoped names carry the namespace, so that releases of one name in two namespaces get on. */ -}}
{{- define "pgwarden.clusterName" -}}
{{- printf "%s-%s" (include "pgwarden.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "pgwarden.requesterPolicy" -}}
{{- printf "%s-requested-by" (include "pgwarden.clusterName" .) -}}
{{- end -}}

{{- define "pgwarden.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/name: {{ include "pgwarden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: pgwarden
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pgwarden.selector" -}}
app.kubernetes.io/name: {{ include "pgwarden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "pgwarden.crdAnnotations" -}}
helm.sh/resource-policy: keep
{{- end -}}

{{- define "pgwarden.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pgwarden.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pgwarden.registry" -}}
{{- with .Values.images.registry -}}{{ trimSuffix "/" . }}/{{- end -}}
{{- end -}}

{{- define "pgwarden.operatorImage" -}}
{{- default (printf "%spgwarden/operator:%s" (include "pgwarden.registry" .) .Chart.AppVersion) .Values.images.operator -}}
{{- end -}}

{{- define "pgwarden.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pgwarden.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* operator.yaml, as pgwarden.kube.config reads it. */ -}}
{{- define "pgwarden.config" -}}
namespaces: {{ toJson .Values.watch.namespaces }}
images:
  agent:
    {{- range $major, $image := .Values.images.agent }}
    {{ $major | quote }}: {{ default (printf "%spgwarden/agent:%s-%s" (include "pgwarden.registry" $) $major $.Chart.AppVersion) $image | quote }}
    {{- end }}
  monitor: {{ include "pgwarden.operatorImage" . | quote }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
imagePullSecrets: {{ toJson .Values.images.pullSecrets }}
limits:
  jobsPerCluster: {{ .Values.limits.jobsPerCluster }}
  jobsTotal: {{ .Values.limits.jobsTotal }}
serviceAccounts: {{ toJson .Values.jobServiceAccounts }}
{{- if .Values.admission.requestedBy }}
requesterPolicy: {{ include "pgwarden.requesterPolicy" . }}
{{- end }}
inPlaceRestores: {{ .Values.restore.inPlace.enabled }}
storeProbeInterval: {{ .Values.intervals.storeProbe }}
monitorInterval: {{ .Values.intervals.monitor }}
resyncInterval: {{ .Values.intervals.resync }}
backupStuckAfter: {{ .Values.intervals.backupStuck }}
jobSecondsToLive: {{ .Values.intervals.jobTimeToLive }}
logLevel: {{ .Values.operator.logLevel }}
leaseName: {{ include "pgwarden.fullname" . }}
{{- end -}}
