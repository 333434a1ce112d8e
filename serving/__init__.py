"""What a visitor uses: model folders found and served, and the tabs of the page. Knows no trainer."""
