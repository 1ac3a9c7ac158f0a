/** e^-x, near enough, nothing from 4 on, and without its price: policies need it for each candidate of a pick. */
export function fade(x: number): number {
  const rest = 1 - x * 0.25;
  return rest > 0 ? rest * rest * rest * rest : 0;
}
