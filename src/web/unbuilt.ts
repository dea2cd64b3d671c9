// For a run from the sources, which has no built dashboard.
export const script = `document.body.append("The dashboard is in the binary: run make build.");`;
export const style = "";
