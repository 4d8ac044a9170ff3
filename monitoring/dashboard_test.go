package monitoring_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"homelab-patch-orchestrate/monitoring"
)

// Grafana itself is not here: what it needs of the file is looked at by hand.
func TestDashboard(t *testing.T) {
	type source struct{ Type, UID string }
	var board struct {
		UID, Title    string
		ID            *int
		SchemaVersion int
		Links         []struct{ Title, Type, URL string }
		Templating    struct {
			List []struct {
				Name, Type string
				Query      any
				Datasource source
			}
		}
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Datasource  source
			Targets     []struct {
				RefID, Expr    string
				Instant, Range bool
				Format         string
				Datasource     source
			}
			Transformations []struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboard)), &board); err != nil {
		t.Fatal(err)
	}
	// A number is Grafana's to give.
	if board.UID != "homelab-patching" || board.Title == "" || board.SchemaVersion == 0 || board.ID != nil {
		t.Errorf("uid %q, title %q, schemaVersion %d, id %v", board.UID, board.Title, board.SchemaVersion, board.ID)
	}
	variables := map[string]string{}
	for _, v := range board.Templating.List {
		variables[v.Name] = v.Type
	}
	if board.Templating.List[0].Name != "datasource" || variables["datasource"] != "datasource" {
		t.Error("the first variable is not the datasource: others cannot use it")
	}
	for _, l := range board.Links {
		m := regexp.MustCompile(`^\$\{(\w+):raw\}$`).FindStringSubmatch(l.URL)
		if l.Type != "link" || m == nil || variables[m[1]] != "textbox" {
			t.Errorf("link %q: %q is no text box that an operator fills in", l.Title, l.URL)
		}
	}
	ours := source{"prometheus", "${datasource}"}
	ids, titles := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		if p.ID < 1 || ids[p.ID] || p.Title == "" || p.Type != "row" && p.Type != "table" && titles[p.Title] {
			t.Errorf("panel %d %q: its id or title is taken, or empty", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource != ours || len(p.Targets) == 0 {
			t.Errorf("panel %q: datasource %v, %d targets", p.Title, p.Datasource, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.Datasource != ours || q.Expr == "" || q.RefID == "" || refs[q.RefID] || q.Instant == q.Range {
				t.Errorf("panel %q, target %q: %+v", p.Title, q.RefID, q)
			}
			refs[q.RefID] = true
			table := p.Type == "table" || p.Type == "barchart"
			if q.Instant != (p.Type != "timeseries") || (q.Format == "table") != table {
				t.Errorf("panel %q, target %q: instant %v, format %q in a %s", p.Title, q.RefID, q.Instant, q.Format, p.Type)
			}
		}
	}
}

func TestProvisioning(t *testing.T) {
	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	parse(t, "grafana/provisioning/dashboards/patching.yml", &dashboards)
	p := dashboards.Providers
	if dashboards.APIVersion != 1 || len(p) != 1 || p[0].Type != "file" || p[0].Options.Path == "" {
		t.Errorf("dashboards: %+v", dashboards)
	}
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct{ Name, Type, UID, URL string }
	}
	parse(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	s := sources.Datasources
	if sources.APIVersion != 1 || len(s) != 1 || s[0].Type != "prometheus" || s[0].URL == "" || s[0].UID == "" {
		t.Errorf("datasources: %+v", sources)
	}
}

func TestQueries(t *testing.T) {
	const board = `{"panels": [
		{"title": "a", "type": "stat", "targets": [{"refId": "A", "expr": "x{i=~\"$host\"}", "instant": true}]},
		{"title": "row", "type": "row", "panels": [{"title": "b", "type": "timeseries", "targets": [
			{"refId": "B", "expr": "y{i=~\"${host:regex}\", j=\"${host}\"}"}]}]}]}`
	got, err := monitoring.Queries([]byte(board), map[string]string{"host": "p.*"})
	want := []monitoring.Query{
		{Panel: "a", Type: "stat", Ref: "A", Expr: `x{i=~"p.*"}`, Instant: true},
		{Panel: "b", Type: "timeseries", Ref: "B", Expr: `y{i=~"p.*", j="p.*"}`},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Queries = %+v, %v", got, err)
	}
	for _, broken := range []string{
		"", `{"panels": 1}`, strings.Replace(board, "${host}", "$hots", 1), strings.Replace(board, "$host", "$hots", 1),
	} {
		if got, err := monitoring.Queries([]byte(broken), map[string]string{"host": "p"}); err == nil {
			t.Errorf("%s: %v", broken, got)
		}
	}
}
