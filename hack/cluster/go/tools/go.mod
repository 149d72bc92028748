module pgwarden.dev/hack/cluster/go/tools

go 1.26.0

tool (
	github.com/coredns/coredns
	github.com/versity/versitygw/cmd/versitygw
	github.com/yannh/kubeconform/cmd/kubeconform
	helm.sh/helm/v4/cmd/helm
)

require (
	github.com/coredns/coredns v1.15.0
	github.com/versity/versitygw v1.8.0
	github.com/yannh/kubeconform v0.8.0
	helm.sh/helm/v4 v4.3.1
)
