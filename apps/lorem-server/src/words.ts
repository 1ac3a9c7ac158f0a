/** One line per number of letters, from 1 to 13. */
const BY_LETTERS = [
  "a e o",
  "ab ac ad at cu de ea et eu ex id in me ne no ob se si te tu ut",
  "aut cum dis dui est hic leo mea mei mus nam nec non nos per pro quo sea sed sem sit sub tot usu vel vim vis",
  "amet ante arcu cras diam duis eget eius elit enim eros esse fuga ipsa iste modi nemo nibh nisi nisl nunc odio odit orci quam quia quis sint sunt unde urna vero",
  "alias animi augue autem culpa dicta dolor donec eaque earum error felis fugit harum illum ipsum irure iusto justo lacus lorem magna massa minim natus neque nihil nobis nulla omnis optio porro purus quasi rerum saepe totam ullam velit vitae",
  "aenean aliqua beatae cillum congue cumque cursus dictum facere fugiat itaque labore libero mattis maxime minima mollis mollit platea primis rutrum sapien semper soluta tellus tempor varius veniam",
  "aliquam aliquid aliquip aperiam commodo debitis dolorem dolores ducimus egestas eiusmod euismod eveniet facilis feugiat gravida impedit integer laborum laoreet maiores nostrud numquam officia placeat pretium quaerat quisque sodales tempora vivamus",
  "corrupti delectus deleniti deserunt dictumst eleifend eligendi facilisi habitant incidunt interdum lobortis maecenas molestie nascetur occaecat pariatur placerat possimus proident pulvinar quisquam sagittis sapiente ultrices vehicula voluptas",
  "accusamus assumenda consequat cupidatat curabitur dignissim doloribus efficitur excepteur exercitat exercitus explicabo fermentum habitasse hendrerit imperdiet inventore malesuada molestiae molestias phasellus provident quibusdam similique tincidunt tristique venenatis veritatis voluptate",
  "adipiscing asperiores aspernatur blanditiis cupiditate distinctio doloremque incididunt laboriosam laudantium necessitas omittantur parturient philosophi recusandae reiciendis reprehendo temporibus vestibulum voluptatem voluptatum",
  "accusantium condimentum consectetur consequatur dissentiunt instructior perferendis praesentium repellendus repudiandae scelerisque suspendisse ullamcorper vituperatum",
  "comprehensam conceptamque conclusionem consectetuer consequuntur exercitation pellentesque perspiciatis sollicitudin theophrastus ullamcorpere voluptatibus",
  "cognitionibus comprehendunt interpretaris reprehenderit reprehensione sollicitudine",
];

/** Latin words by their number of letters, from 1 to 13; there is nothing at 0. */
export const WORDS: readonly (readonly string[])[] = [[], ...BY_LETTERS.map((line) => line.split(" "))];
