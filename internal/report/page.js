'use strict';
const form = document.querySelector('.filter');
if (form) {
  const rows = [...document.querySelectorAll('.hosts tbody tr')].map(tr => ({
    tr, text: tr.textContent.toLowerCase(), outcome: tr.cells[1].textContent, wave: tr.cells[2].textContent,
  }));
  const chips = [...form.querySelectorAll('button')];
  const [wave, text, said] = [form.querySelector('select'), form.querySelector('input'), form.querySelector('output')];
  const filter = () => {
    const wanted = chips.filter(c => c.getAttribute('aria-pressed') === 'true').map(c => c.dataset.outcome);
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const r of rows) {
      const hit = (!wanted.length || wanted.includes(r.outcome)) && (!wave.value || r.wave === wave.value) && words.every(w => r.text.includes(w));
      r.tr.hidden = !hit;
      shown += hit;
    }
    said.textContent = shown === rows.length ? '' : shown + ' of ' + rows.length;
  };
  for (const c of chips) c.addEventListener('click', () => {
    c.setAttribute('aria-pressed', String(c.getAttribute('aria-pressed') !== 'true'));
    filter();
  });
  wave.addEventListener('change', filter);
  text.addEventListener('input', filter);
  form.addEventListener('submit', e => e.preventDefault());
  form.hidden = rows.length < 2;
  filter(); // what the browser remembered
}
const print = on => document.querySelectorAll('details').forEach(d => {
  if (on && !d.open) { d.open = true; d.dataset.print = ''; } else if (!on && 'print' in d.dataset) { d.open = false; delete d.dataset.print; }
});
addEventListener('beforeprint', () => print(true));
addEventListener('afterprint', () => print(false));
