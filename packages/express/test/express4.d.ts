// The alias brings no types: those of the newer one hold as far as they matter here.
declare module "express4" {
  export { default } from "express";
}
