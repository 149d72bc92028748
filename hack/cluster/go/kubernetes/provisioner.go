package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisionerName is what the StorageClass names.
const provisionerName = "pgwarden.dev/loop-ext4"

// loopProvisioner makes every claim a filesystem of its own: a sparse file of
// the requested size, ext4 on it, loop-mounted. Directories on a shared disk
// would be simpler, but they can't fill up one at a time, and the kubelet
// does not apply fsGroup to hostPath volumes. It does to `local` ones.
type loopProvisioner struct {
	root string // holds <volume>.img and <volume>/, its mount point
	node string
}

func newProvisionerCommand() *cobra.Command {
	var root, node, kubeconfig string
	var mountOnly bool
	cmd := &cobra.Command{
		Use:          "volume-provisioner",
		Short:        "serve a StorageClass with ext4 images on loop devices",
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			provisioner := &loopProvisioner{root: root, node: node}
			// After a restart of the cluster the images are there and the mounts
			// are not. Pods must not see the empty mount points.
			if err := provisioner.mountAll(cmd.Context()); err != nil || mountOnly {
				return err
			}
			return serve(cmd.Context(), provisioner, kubeconfig)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "directory for the images and their mount points")
	cmd.Flags().StringVar(&node, "node", "", "name of the node the volumes are on")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	cmd.Flags().BoolVar(&mountOnly, "mount-only", false, "mount existing images and exit")
	return cmd
}

func serve(ctx context.Context, provisioner controller.Provisioner, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	controller.NewProvisionController(
		ctx, client, provisionerName, provisioner,
		controller.LeaderElection(false),
		// The default of 15 minutes is for clouds that bill by the call.
		controller.ResyncPeriod(time.Minute),
	).Run(ctx)
	return nil
}

func (p *loopProvisioner) image(volume string) string { return filepath.Join(p.root, volume+".img") }

func (p *loopProvisioner) mountPoint(volume string) string { return filepath.Join(p.root, volume) }

// Provision makes, formats and mounts the image of one claim.
func (p *loopProvisioner) Provision(
	ctx context.Context, options controller.ProvisionOptions,
) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	if mode := claim.Spec.VolumeMode; mode != nil && *mode == corev1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, errors.New("only volumeMode Filesystem is served")
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode == corev1.ReadWriteMany || mode == corev1.ReadOnlyMany {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s: a volume belongs to one node", mode)
		}
	}
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if err := p.create(ctx, options.PVName, size.Value()); err != nil {
		// Nothing half made stays behind for the next attempt to trip over.
		return nil, controller.ProvisioningFinished, errors.Join(err, p.remove(ctx, options.PVName))
	}
	filesystem := corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			StorageClassName:              options.StorageClass.Name,
			MountOptions:                  options.StorageClass.MountOptions,
			VolumeMode:                    &filesystem,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: p.mountPoint(options.PVName)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key:      corev1.LabelHostname,
						Operator: corev1.NodeSelectorOpIn,
						Values:   []string{p.node},
					}},
				}},
			}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes what Provision made.
func (p *loopProvisioner) Delete(ctx context.Context, volume *corev1.PersistentVolume) error {
	return p.remove(ctx, volume.Name)
}

func (p *loopProvisioner) create(ctx context.Context, volume string, size int64) error {
	// A claim is asked for again when the controller has not seen yet that its
	// volume is there: what a pod may be using already is left as it is.
	if mounted, err := isMountPoint(p.mountPoint(volume)); err != nil || mounted {
		return err
	}
	file, err := os.OpenFile(p.image(volume), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(size), file.Close()); err != nil {
		return err
	}
	// No blocks reserved for root (-m 0), so that a container fills the volume
	// to the same byte whatever its user is; the rest is as on a real disk.
	if err := run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", p.image(volume)); err != nil {
		return err
	}
	return p.mount(ctx, volume)
}

func (p *loopProvisioner) mount(ctx context.Context, volume string) error {
	if mounted, err := isMountPoint(p.mountPoint(volume)); err != nil || mounted {
		return err
	}
	if err := os.MkdirAll(p.mountPoint(volume), 0o755); err != nil {
		return err
	}
	// discard: what is deleted in the volume is given back to the disk.
	return run(ctx, "mount", "-o", "loop,discard", p.image(volume), p.mountPoint(volume))
}

func (p *loopProvisioner) mountAll(ctx context.Context) error {
	images, err := filepath.Glob(p.image("*"))
	if err != nil {
		return err
	}
	var failures []error
	for _, image := range images {
		failures = append(failures, p.mount(ctx, strings.TrimSuffix(filepath.Base(image), ".img")))
	}
	return errors.Join(failures...)
}

func (p *loopProvisioner) remove(ctx context.Context, volume string) error {
	mounted, err := isMountPoint(p.mountPoint(volume))
	if err != nil {
		return err
	}
	if mounted {
		if err := run(ctx, "umount", p.mountPoint(volume)); err != nil {
			return err
		}
	}
	return errors.Join(removeIfThere(p.mountPoint(volume)), removeIfThere(p.image(volume)))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// isMountPoint says whether another filesystem begins at path.
func isMountPoint(path string) (bool, error) {
	var here, above syscall.Stat_t
	if err := syscall.Stat(path, &here); err != nil {
		if os.IsNotExist(err) {
			return false, nil
		}
		return false, err
	}
	if err := syscall.Stat(filepath.Dir(path), &above); err != nil {
		return false, err
	}
	return here.Dev != above.Dev, nil
}

func run(ctx context.Context, name string, arguments ...string) error {
	if output, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
