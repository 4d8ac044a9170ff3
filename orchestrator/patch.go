package orchestrator

// PatchVersion is the version of the role's result that is understood.
const PatchVersion = 1

// Patch is what the role patching publishes about its host, as homelab_patch. In check mode it says what would change.
type Patch struct {
	Version           int           `json:"version"`
	Run               string        `json:"run"`               // id of the run that did the work
	Check             bool          `json:"check"`             // nothing was changed
	Hold              *HostHold     `json:"hold"`              // nil if the host is not held
	Packages          []Package     `json:"packages"`          // changed, or to be changed
	HeldPackages      []HeldPackage `json:"held_packages"`     // by apt-mark hold
	KeptBack          []KeptBack    `json:"kept_back"`         // apt did not upgrade them
	Excluded          []Package     `json:"excluded"`          // by patching_exclude
	Conffiles         []string      `json:"conffiles"`         // kept, with a newer one beside them
	ListsAge          float64       `json:"lists_age_seconds"` // of apt's lists
	Warnings          []string      `json:"warnings"`
	RebootRequired    bool          `json:"reboot_required"` // still, at the end
	RebootReasons     []string      `json:"reboot_reasons"`
	RebootFutile      bool          `json:"reboot_futile"`   // in this boot, a restart of ours helped against none of them
	RebootForecast    string        `json:"reboot_forecast"` // check mode: whether it would reboot
	RebootDue         bool          `json:"reboot_due"`      // policy wants one, and the role may not restart this host: the controller
	Rebooted          bool          `json:"rebooted"`
	Kernel            Kernel        `json:"kernel"`
	ServicesRestarted []string      `json:"services_restarted"`
	FailedUnits       FailedUnits   `json:"failed_units"`
	DpkgAudit         string        `json:"dpkg_audit"` // empty if dpkg has no complaint
	Reattached        bool          `json:"reattached"` // an earlier run had started the work
	Replaced          Replaced      `json:"replaced"`   // what there is to go back to
	Rollback          *Undone       `json:"rollback"`   // nil if nothing was undone, or is to be
	Failure           *Failure      `json:"failure"`    // nil if the role came to its end
	// What only a plan says; empty in the result of an upgrade.
	Suite            string            `json:"suite"`        // such as bookworm
	Architecture     string            `json:"architecture"` // of dpkg
	Archives         map[string]string `json:"archives"`     // hashes of the Release files that were planned by
	ConffilePrompts  []ConffilePrompt  `json:"conffile_prompts"`
	ServicesForecast []ServiceForecast `json:"services_forecast"`
}

// Replaced is what a host keeps of the packages that a run replaced or removed.
type Replaced struct {
	Kept    []Kept    `json:"kept"`
	Missing []Missing `json:"missing"`
}

// Kept is a .deb of the version that was installed before.
type Kept struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Source  string `json:"source"` // cache (of apt), repacked (by dpkg-repack), or kept (by an attempt before)
}

// Missing is a package of which none could be kept.
type Missing struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

// Undone is what a rollback changes, or did, and what of the run it leaves.
type Undone struct {
	Of       string        `json:"of"` // id of the run that is undone
	Packages []BackPackage `json:"packages"`
	Stays    []Missing     `json:"stays"` // Version is the one that is installed; empty if it is not
}

// BackPackage is a package that goes back.
type BackPackage struct {
	Name   string `json:"name"`
	From   string `json:"from"`   // empty if it is not installed now
	To     string `json:"to"`     // empty if it is removed
	Source string `json:"source"` // of its .deb: kept (on the host), cache (of apt), archive; empty for a removal
}

// HostHold is a MAINTENANCE file on the host.
type HostHold struct {
	Reason string `json:"reason"`
}

// Package is a package and its versions before and after.
type Package struct {
	Name     string `json:"name"`
	From     string `json:"from"` // empty if it is new
	To       string `json:"to"`   // empty if it is removed
	Security bool   `json:"security"`
	// The rest is what a plan says besides; empty in the result of an upgrade.
	Origin        string `json:"origin,omitempty"`         // archive, as apt words it
	Size          int64  `json:"size,omitempty"`           // of the download, in bytes; -1 if the lists do not say
	Source        string `json:"source,omitempty"`         // name of the source package
	SourceVersion string `json:"source_version,omitempty"` // its version
}

// HeldPackage is a package that somebody put on hold.
type HeldPackage struct {
	Name      string `json:"name"`
	Installed string `json:"installed"`
	Candidate string `json:"candidate"`
}

// KeptBack is a package that has a newer version and was not upgraded.
type KeptBack struct {
	Name   string `json:"name"`
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason"`
}

// Kernel is the kernel that runs and the newest one installed.
type Kernel struct {
	Running   string `json:"running"`
	Installed string `json:"installed"`
	State     string `json:"state"` // current, newer (is installed), or unknown
}

// ConffilePrompt is a changed conffile of a package that will be upgraded. It is kept; dpkg would ask of it.
type ConffilePrompt struct {
	Package  string `json:"package"`
	Path     string `json:"path"`
	Expected string `json:"expected"` // unknown: whether the new package has another one is in it alone
}

// ServiceForecast is a service that uses files of packages which will be upgraded.
type ServiceForecast struct {
	Service   string   `json:"service"`
	Packages  []string `json:"packages"`
	Restarted bool     `json:"restarted"` // false: only a reboot replaces it
}

// FailedUnits is systemd's failed units before and after.
type FailedUnits struct {
	Before []string `json:"before"`
	After  []string `json:"after"`
}

// Failure is why the role gave up.
type Failure struct {
	Phase  string `json:"phase"`
	Reason string `json:"reason"` // one sentence for people
	Detail string `json:"detail"`
}
